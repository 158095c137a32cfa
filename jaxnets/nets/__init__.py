"""Networks: one family a file, built of the operations, each with its backpropagation."""
