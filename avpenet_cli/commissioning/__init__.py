"""Commissioning: does this installation still give the scores it gave before?"""
