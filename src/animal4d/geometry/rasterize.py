"""placeholder: owned by the geometry helper"""
