
# NAT: the packets arrive with this host's own address, so no adapter and no virtual address is needed. Answers must go back
# through the director: the default route leads there.
$prefix = @{ IPv4 = '0.0.0.0/0'; IPv6 = '::/0' }
$wrong = 0
foreach ($family in 'IPv4', 'IPv6') {
    if (-not $directors[$family].Count) { continue }
    $now = @(Get-NetRoute -DestinationPrefix $prefix[$family] -ErrorAction SilentlyContinue | Sort-Object { $_.RouteMetric + $_.InterfaceMetric })
    $gateway = $directors[$family][0]
    $right = $now.Count -and $directors[$family] -contains $now[0].NextHop
    switch ($mode) {
        'check' { if (-not $right) { $wrong++; Write-Output "wrong (gateway): the default route is $($now[0].NextHop), not $gateway" } }
        'prepare' {
            if ($right) { break }
            if (-not $now.Count) { throw "there is no default route: New-NetRoute -DestinationPrefix $($prefix[$family]) -NextHop $gateway -InterfaceAlias NAME" }
            $kept = @(if (Test-Path $state) { Get-Content -Raw $state | ConvertFrom-Json | ForEach-Object { $_ } }) # PowerShell 5 gives a list as one object
            $kept += @($now | Select-Object DestinationPrefix, NextHop, InterfaceAlias, RouteMetric)
            ConvertTo-Json -InputObject @($kept) | Set-Content -Encoding UTF8 $state
            $now | Remove-NetRoute -Confirm:$false
            New-NetRoute -DestinationPrefix $prefix[$family] -NextHop $gateway -InterfaceAlias $now[0].InterfaceAlias | Out-Null
        }
        'undo' {
            if (-not (Test-Path $state)) { Write-Output "nothing to take back: $state is missing"; break }
            $now | Where-Object { $directors[$family] -contains $_.NextHop } | Remove-NetRoute -Confirm:$false
            Get-Content -Raw $state | ConvertFrom-Json | ForEach-Object { $_ } | Where-Object { $_.DestinationPrefix -eq $prefix[$family] } | ForEach-Object {
                New-NetRoute -DestinationPrefix $_.DestinationPrefix -NextHop $_.NextHop -InterfaceAlias $_.InterfaceAlias -RouteMetric $_.RouteMetric | Out-Null
            }
        }
    }
}
if ($mode -eq 'undo' -and (Test-Path $state)) { Remove-Item $state }
if ($wrong) { exit 1 }
if ($mode -eq 'check') { Write-Output 'nothing is wrong' }
