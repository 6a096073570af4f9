"""RTMP without I/O: the server's half, for publishers (OBS, ffmpeg) that push a live stream.

`session.Session` is what a connection needs; `tags` reads what its media events carry. The sources are Adobe's RTMP
1.0 specification (https://rtmp.veriskope.com/docs/spec/), and for newer codecs Enhanced RTMP v2
(https://veovera.org/docs/enhanced/enhanced-rtmp-v2).
"""
