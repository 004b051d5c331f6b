"""From prompts to images, with a manifest and a picture grid."""
