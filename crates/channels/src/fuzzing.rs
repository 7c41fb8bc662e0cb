//! Entrances for fuzz targets and tests; no part of the interface.
