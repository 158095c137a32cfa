"""The atoms: one topic a file, each operation with its plain equations forward and backward."""
