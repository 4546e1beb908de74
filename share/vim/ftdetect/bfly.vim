autocmd BufRead,BufNewFile *.bfly setfiletype bfly
