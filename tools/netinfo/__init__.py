"""What a network needs and computes, found from its prototxt alone: shapes, multiply-adds, receptive fields, memory."""
