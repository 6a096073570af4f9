"""One module a resource; siblings never import each other."""
