#!/bin/sh
# A script runs once per call: stdin is the request body, stdout the response.
# The rest of the request is in CGI variables.
name=$(cat)
echo "Hello, ${name:-world}! You sent a $REQUEST_METHOD."
