//! Folders, and what else lies about on a machine, that do not outlive this process.
