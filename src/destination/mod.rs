//! What the daemon keeps on the destination cluster, and nothing else does.
