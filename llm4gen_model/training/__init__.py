"""Training: pairs of images and captions -> features in a cache -> a CAM, a UNet, or both."""
