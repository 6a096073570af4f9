"""What every request and response passes, as plain functions: `Edge.finish` runs them in one place.

Sanic's own middleware costs a list walk and a coroutine a piece; this runs once, just before a response is sent.
"""
