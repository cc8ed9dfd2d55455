
$wrong = 0
function Wrong($code, $what) { $script:wrong++; Write-Output "wrong ($code): $what" }
if (-not $segment) {
    $segment = (Get-NetRoute -DestinationPrefix '0.0.0.0/0', '::/0' -ErrorAction SilentlyContinue | Sort-Object RouteMetric | Select-Object -First 1).InterfaceAlias
}
foreach ($family in 'IPv4', 'IPv6') {
    foreach ($vip in $vips[$family]) {
        $at = @(Get-NetIPAddress -IPAddress $vip -ErrorAction SilentlyContinue)
        if (-not $at.Count) { Wrong 'vip-missing' "$vip is on no interface"; continue }
        foreach ($a in $at) {
            $adapter = Get-NetAdapter -InterfaceIndex $a.InterfaceIndex -IncludeHidden -ErrorAction SilentlyContinue
            if ($adapter -and $adapter.InterfaceDescription -notlike '*KM-TEST*') { Wrong 'vip-segment' "$($a.InterfaceAlias) has $vip, and answers for it on the segment"; continue }
            if ($a.PrefixLength -ne $length[$family]) { Wrong 'vip-prefix' "$vip has the prefix length $($a.PrefixLength), not $($length[$family])" }
            if ($a.AddressState -ne 'Preferred' -and $a.AddressState -ne 'Deprecated') { Wrong 'vip-dadfailed' "$vip is $($a.AddressState)" }
            if (-not $a.SkipAsSource) { Wrong 'vip-source' "$vip may be the source of this host's own connections (SkipAsSource)" }
            $lo = Get-NetIPInterface -InterfaceIndex $a.InterfaceIndex -AddressFamily $family
            if ("$($lo.WeakHostSend)" -ne 'Enabled') { Wrong 'weak-host' "weak host send is off on $($a.InterfaceAlias): answers do not leave" }
            if ($lo.InterfaceMetric -lt 254) { Wrong 'metric' "the metric of $($a.InterfaceAlias) is $($lo.InterfaceMetric), not 254" }
            if ((Get-DnsClient -InterfaceIndex $a.InterfaceIndex).RegisterThisConnectionsAddress) { Wrong 'dns' "$($a.InterfaceAlias) registers $vip in DNS" }
        }
        $net = Get-NetIPInterface -InterfaceAlias $segment -AddressFamily $family
        if ("$($net.WeakHostReceive)" -ne 'Enabled') { Wrong 'weak-host' "weak host receive is off on ${segment}: what the director sends for $vip is dropped" }
        foreach ($port in $ports) {
            $all = @(Get-NetTCPConnection -State Listen -LocalPort $port -ErrorAction SilentlyContinue | ForEach-Object LocalAddress)
            if ($all -notcontains $vip -and $all -notcontains '0.0.0.0' -and $all -notcontains '::') { Wrong 'no-listener' "nobody listens on $vip port $port (listening: $($all -join ', '))" }
        }
    }
}
if ($wrong) { exit 1 }
Write-Output 'nothing is wrong'
