"""Formats: one file each. A reader holds the format's options and turns a data file into Arrow tables."""

from enfold.datasets.readers.base import FORMATS, Reader, format_of, reader_class

__all__ = ["FORMATS", "Reader", "format_of", "reader_class"]
