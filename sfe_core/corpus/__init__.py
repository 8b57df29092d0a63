"""The data set on disk: layout, manifest, labels, captions, splits, reading and balancing.

Imports go one way, each line only to lines above it:

    layout, photo_files, crop_notes, lock; tables/
    artefacts/                  what a face's files are (the records of kinds)
    manifest, then absent, manifest_stream, picture_store, webdataset, quality
    views, photo_area, reader, choice, sampler, dataset, export
    annotations/                what is said of photos
    people/                     who is on them, which are copies, the splits
    inspection/                 looking at a corpus
    preprocessing/              from photos to a corpus
    importing/                  other people's data sets to photos, labels and captions
"""
