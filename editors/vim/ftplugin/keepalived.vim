setlocal commentstring=#\ %s comments=:#,:! shiftwidth=4 expandtab
setlocal formatprg=vipd\ fmt\ - makeprg=vipd\ check\ -q\ % errorformat=%f:%l:%c:\ %trror:\ %m,%f:%l:%c:\ %tarning:\ %m
