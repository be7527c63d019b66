//! The access-log plugin.
