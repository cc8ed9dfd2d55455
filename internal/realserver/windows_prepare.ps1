
# The interface that the director reaches: that of the default route, unless it was named with --interface.
if (-not $segment) {
    $segment = (Get-NetRoute -DestinationPrefix '0.0.0.0/0', '::/0' -ErrorAction SilentlyContinue | Sort-Object RouteMetric | Select-Object -First 1).InterfaceAlias
}
if (-not $segment) { throw 'there is no default route: name the interface towards the director with --interface' }

# What was there before is kept for undo, once.
if (-not (Test-Path $state)) {
    $before = @{ segment = $segment; added = $false; weak = @{} }
    foreach ($family in 'IPv4', 'IPv6') {
        if ($vips[$family].Count) {
            $before.weak[$family] = "$((Get-NetIPInterface -InterfaceAlias $segment -AddressFamily $family).WeakHostReceive)"
        }
    }
} else { $before = $null }

if (-not (Get-Loopback)) {
    $known = @(Get-NetAdapter -IncludeHidden | ForEach-Object InterfaceGuid)
    [VipdLoopback]::Add()
    for ($i = 0; $i -lt 50 -and -not $new; $i++) {
        Start-Sleep -Milliseconds 200
        $new = Get-NetAdapter | Where-Object { $known -notcontains $_.InterfaceGuid -and $_.InterfaceDescription -like '*KM-TEST*' }
    }
    if (-not $new) { throw 'the loopback adapter was made and did not appear' }
    $new | Rename-NetAdapter -NewName $alias
    if ($before) { $before.added = $true }
}
if ($before) { $before | ConvertTo-Json -Depth 4 | Set-Content -Encoding UTF8 $state }

# Nothing but IP on it, and no name in DNS for the virtual address.
Disable-NetAdapterBinding -Name $alias -ComponentID ms_msclient, ms_server, ms_lltdio, ms_rspndr -ErrorAction SilentlyContinue
Set-DnsClient -InterfaceAlias $alias -RegisterThisConnectionsAddress $false

foreach ($family in 'IPv4', 'IPv6') {
    if (-not $vips[$family].Count) { continue }
    # Weak host receive on the segment's interface: it takes packets for an address of another interface. Weak host send on the
    # loopback adapter, whose address is the source of the answers: they leave by another interface. Windows answers ARP and
    # neighbour solicitations for the addresses of the interface that is asked alone, so nothing is to be hidden.
    Set-NetIPInterface -InterfaceAlias $segment -AddressFamily $family -WeakHostReceive Enabled
    Set-NetIPInterface -InterfaceAlias $alias -AddressFamily $family -WeakHostReceive Enabled -WeakHostSend Enabled -AutomaticMetric Disabled -InterfaceMetric 254 -Dhcp Disabled -RouterDiscovery Disabled -DadTransmits 0
    foreach ($vip in $vips[$family]) {
        Get-NetIPAddress -IPAddress $vip -ErrorAction SilentlyContinue |
            Where-Object { $_.InterfaceAlias -ne $alias -or $_.PrefixLength -ne $length[$family] } | Remove-NetIPAddress -Confirm:$false
        if (-not (Get-NetIPAddress -IPAddress $vip -InterfaceAlias $alias -ErrorAction SilentlyContinue)) {
            New-NetIPAddress -InterfaceAlias $alias -IPAddress $vip -PrefixLength $length[$family] -SkipAsSource $true | Out-Null
        }
    }
}
Write-Output "ready: $alias has $($vips.IPv4 + $vips.IPv6 -join ', '), and $segment takes what comes for it"
