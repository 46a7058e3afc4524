# Rscript columns.R FOLDER TABLE...
# Reads tables with read.csv as it is and writes each column into FOLDER, as <table's number>-<name>.txt: its class, then
# its values, a line each; of a missing value nothing, of a number all of its digits.
arguments <- commandArgs(trailingOnly = TRUE)
for (number in seq_along(arguments[-1])) {
  table <- read.csv(arguments[number + 1])
  for (name in names(table)) {
    column <- table[[name]]
    values <- if (is.double(column)) sprintf("%.17g", column) else as.character(column)
    values[is.na(column)] <- ""
    writeLines(c(class(column), values), file.path(arguments[1], paste0(number, "-", name, ".txt")), useBytes = TRUE)
  }
}
