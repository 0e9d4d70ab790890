"""Frames of DICOM images as pictures: decoding, the grey scale pipeline, encoding.

Functions open an instance by `opened`, `uncompressed` or `other`, and have a frame drawn
by `render`; what these are made of is pure.
"""
