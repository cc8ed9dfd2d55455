
# The loopback adapter "Microsoft KM-TEST" (*MSLOOP) is a device that no hardware announces: it is registered as the wizard
# "Add legacy hardware" does, by the set-up API. Neither devcon nor anything else is to be installed.
Add-Type -TypeDefinition @'
using System;
using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;
public static class VipdLoopback {
    [StructLayout(LayoutKind.Sequential)] struct DevInfo { public int Size; public Guid Class; public int Inst; public IntPtr Reserved; }
    [DllImport("setupapi.dll", SetLastError = true)] static extern IntPtr SetupDiCreateDeviceInfoList(ref Guid cls, IntPtr parent);
    [DllImport("setupapi.dll", SetLastError = true, CharSet = CharSet.Unicode)] static extern bool SetupDiCreateDeviceInfoW(IntPtr set, string name, ref Guid cls, string text, IntPtr parent, int flags, ref DevInfo info);
    [DllImport("setupapi.dll", SetLastError = true, CharSet = CharSet.Unicode)] static extern bool SetupDiSetDeviceRegistryPropertyW(IntPtr set, ref DevInfo info, int property, byte[] value, int size);
    [DllImport("setupapi.dll", SetLastError = true)] static extern bool SetupDiCallClassInstaller(int function, IntPtr set, ref DevInfo info);
    [DllImport("setupapi.dll", SetLastError = true)] static extern bool SetupDiDestroyDeviceInfoList(IntPtr set);
    [DllImport("newdev.dll", SetLastError = true, CharSet = CharSet.Unicode)] static extern bool UpdateDriverForPlugAndPlayDevicesW(IntPtr parent, string hardware, string inf, int flags, out bool reboot);
    const int GenerateId = 1, HardwareId = 1, RegisterDevice = 0x19;
    static void Must(bool ok, string what) { if (!ok) throw new Win32Exception(Marshal.GetLastWin32Error(), what); }
    public static void Add() {
        Guid net = new Guid("4d36e972-e325-11ce-bfc1-08002be10318");
        IntPtr set = SetupDiCreateDeviceInfoList(ref net, IntPtr.Zero);
        Must(set != new IntPtr(-1), "create a device list");
        try {
            DevInfo info = new DevInfo(); info.Size = Marshal.SizeOf(typeof(DevInfo));
            Must(SetupDiCreateDeviceInfoW(set, "Net", ref net, null, IntPtr.Zero, GenerateId, ref info), "create the device");
            byte[] id = Encoding.Unicode.GetBytes("*MSLOOP\0\0");
            Must(SetupDiSetDeviceRegistryPropertyW(set, ref info, HardwareId, id, id.Length), "name its hardware");
            Must(SetupDiCallClassInstaller(RegisterDevice, set, ref info), "register the device");
        } finally { SetupDiDestroyDeviceInfoList(set); }
        bool reboot;
        string inf = Environment.GetFolderPath(Environment.SpecialFolder.Windows) + @"\inf\netloop.inf";
        Must(UpdateDriverForPlugAndPlayDevicesW(IntPtr.Zero, "*MSLOOP", inf, 1, out reboot), "install its driver");
    }
}
'@
function Get-Loopback { Get-NetAdapter -Name $alias -ErrorAction SilentlyContinue }
