ORIGIN = "the package"
