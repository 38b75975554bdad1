"""What the quality gate is fitted on and measured with: spoiled films, made images, pictures of packages."""
