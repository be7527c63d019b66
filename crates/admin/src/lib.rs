//! The admin REST.
