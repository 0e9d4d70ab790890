"""Container images of Pacsless, made of packages without a base image or a registry.

`images.recipes` says what is in which; ``python -m images`` makes them (`make images`).
The Dockerfiles beside it have the same contents for whoever builds with Docker.
"""
