"""Frames of DICOM images as pictures: decoding, the grey scale pipeline, encoding.

`render.open_image` and `render.render` are for functions; what they are made of
is pure.
"""
