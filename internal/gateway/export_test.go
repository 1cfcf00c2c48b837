package gateway

import "time"

// RecheckCertificate sets how long a certificate is used before its file is
// looked at again. It must be called before Run.
func (g *Gateway) RecheckCertificate(d time.Duration) { g.certificate.recheck = d }

// ValidTrace is validTrace.
var ValidTrace = validTrace
