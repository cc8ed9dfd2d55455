# Run it as Administrator, on Windows Server 2016 or later:  powershell -ExecutionPolicy Bypass -File SCRIPT.ps1
#Requires -RunAsAdministrator
$ErrorActionPreference = 'Stop'
$alias = 'vipd loopback'
$length = @{ IPv4 = 32; IPv6 = 128 }
$state = Join-Path $env:ProgramData 'vipd-realserver.json'
