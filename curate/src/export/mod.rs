//! Exports of kept clips (`omni export`).
