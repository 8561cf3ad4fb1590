//! Whether an adapter keeps to the protocol: each rule tried on real nodes.
