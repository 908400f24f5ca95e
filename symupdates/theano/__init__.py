"""What legacy Theano code imports as Theano."""
