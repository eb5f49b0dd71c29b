"""MTCNN: three networks with facenet-pytorch's weights, and the cascade that applies them to many images at once."""
