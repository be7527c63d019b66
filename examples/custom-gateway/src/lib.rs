//! A gateway binary of one's own, with one's own plugin.
