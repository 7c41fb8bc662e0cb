//! The frame of a snapshot file and its public header (section 14.1).
