"""RICORD-1C (github lindawangg/COVID-Net's COVIDxSev): DICOM download, spreadsheet, annotations and lists -> a set.

What is published of it, and so followed here: the notebooks create_ricord_dataset and create_COVIDxSev of that
repository say which file is which image, which views count, and how grades become levels.
"""
