"""What is written here to stand for parts of Theano; :mod:`symupdates.theano.modules` says where Theano had them."""
