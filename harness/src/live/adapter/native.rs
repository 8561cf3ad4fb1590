//! The driver of this project as an adapter.
