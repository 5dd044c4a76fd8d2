"""Finding passages: lexical and dense legs, fusion, filters."""
