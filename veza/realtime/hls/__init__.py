"""A live stream's encoded frames as fragmented MP4 and (low-latency) HLS, without transcoding and without I/O."""
