"""Code that several explainers share: the explained score, places of media, gradients, and the flow of relevance."""
