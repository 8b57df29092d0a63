"""From photos to a corpus: plan, workers, journal, index.

Below all of the corpus but importing. In order: photos, photo_jobs, decode_ahead, scenes,
face_rows, photo_work, journal, shard, pool, placement, plan, shard_worker, hash_stored, index,
manifest_update, preprocess; single_photo beside them.
"""
