"""What is said of photos: labels, captions, attributes, texts beside them.

Below tables, layout and manifest. In order: captions, records, attributes, label_file, labels,
captioning, sidecars, blip_captions.
"""
