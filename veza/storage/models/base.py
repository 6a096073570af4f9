"""What all models come from: Tortoise's, without a look at their source.

Tortoise reads it for comments, of which there are none here. While Ray comes up in another thread that may fail:
CPython 3.11 counts the depth of the trees that all threads build as one (github.com/python/cpython/issues/106905).
"""

from tortoise import models

models._get_comments = lambda cls: {}  # noqa: ARG005 - its name is part of the signature
Model = models.Model
