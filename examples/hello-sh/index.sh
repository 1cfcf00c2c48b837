#!/bin/sh
# A script is started for each call: its input is the body, its output the answer.
# The rest of the request is in the variables of CGI, as web servers have always
# given them.
name=$(cat)
echo "Hello, ${name:-world}! You sent a $REQUEST_METHOD."
