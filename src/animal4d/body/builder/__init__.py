"""Makes the built-in template: ``python -m animal4d.body.builder``. Needs scikit-image (extra ``build``)."""
