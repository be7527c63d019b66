//! The template of a plugin: greets in a response header.
