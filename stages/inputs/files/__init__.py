"""Finding the files of a dataset: by path and glob, by format, without what is no data, and whether one changed."""
