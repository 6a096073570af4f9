"""The platform as a test meets it from outside: a process tree, REST calls, raw sockets."""
