
foreach ($family in 'IPv4', 'IPv6') {
    foreach ($vip in $vips[$family]) {
        Get-NetIPAddress -IPAddress $vip -InterfaceAlias $alias -ErrorAction SilentlyContinue | Remove-NetIPAddress -Confirm:$false
    }
}
if (-not (Test-Path $state)) { Write-Output "the addresses are removed; what was before prepare is not known ($state is missing)"; exit 0 }
$before = Get-Content -Raw $state | ConvertFrom-Json
$left = @(Get-NetIPAddress -InterfaceAlias $alias -ErrorAction SilentlyContinue | Where-Object { $_.PrefixOrigin -eq 'Manual' })
if ($left.Count) { Write-Output "$alias keeps $($left.IPAddress -join ', '); the rest stays until they are removed too"; exit 0 }
foreach ($family in 'IPv4', 'IPv6') {
    if ($before.weak.$family) { Set-NetIPInterface -InterfaceAlias $before.segment -AddressFamily $family -WeakHostReceive $before.weak.$family }
}
if ($before.added) {
    $id = (Get-NetAdapter -Name $alias).PnPDeviceID
    pnputil /remove-device "$id" | Out-Null          # Windows Server 2022 and later
    if ($LASTEXITCODE -ne 0) { Disable-NetAdapter -Name $alias -Confirm:$false; Write-Output "$alias is disabled; remove it in the device manager" }
}
Remove-Item $state
