au BufRead,BufNewFile keepalived.conf,*/keepalived/*.conf,*/keepalived/conf.d/* setfiletype keepalived
